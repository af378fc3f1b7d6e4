"""Training: settings as values, the schedule as functions, the loop as a generator, exact resume."""
