"""One seam between the engine and the world, and the worlds behind it."""
