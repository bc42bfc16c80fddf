"""What things are: values without I/O, without a clock, without a scheduler."""
