"""How the documentation is built. A warning is an error, and nothing is fetched from the network."""

from typing import Any

from sphinx.ext.napoleon import GoogleDocstring

import upbit_streams
import upbit_streams.testing

project = "upbit-streams"
author = "the contributors"
copyright = "the contributors"
release = upbit_streams.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"upbit-streams {release}"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
nitpicky = True

# Other projects' names, whose documentation is not at hand without a network; and names that are no user's business:
# type variables, and classes that users meet only as results.
nitpick_ignore_regex = [
    ("py:.*", r"(anyio|asyncio|collections|contextlib|decimal|msgspec|pathlib|selectors|trio|typing)\..*"),
    ("py:.*", r"(.*\.)?(E|E_co|T|Once|Args)"),
    ("py:.*", r"(.*\.)?(Batches|Block|Market|Candle\d+[sm]Event|Closing|Source)"),
]

_HOMES = (upbit_streams, upbit_streams.testing)


def _at_home(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Link a name to where users import it from, wherever the code defines it."""
    name = node.get("reftarget", "").rpartition(".")[2]
    for home in _HOMES:
        target = f"{home.__name__}.{name}"
        if name in home.__all__ and node["reftarget"] != target:
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)
    return None


def _sections(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Format sections like "Args:". Not in the descriptions of attributes and properties, where a colon is a colon."""
    if what not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, what=what, name=name, obj=obj, options=options).lines()


def _defaults(app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any) -> Any:
    """Show what a default that is made anew each time is, not how attrs marks it."""
    return (signature.replace("= NOTHING", "= Backoff()"), returns) if signature else None


def setup(app: Any) -> None:
    app.connect("missing-reference", _at_home)
    app.connect("autodoc-process-docstring", _sections)
    app.connect("autodoc-process-signature", _defaults)
