"""Methods compared: prompts x seeds x ways, every trial a line in a file, tables and plots from the lines."""
