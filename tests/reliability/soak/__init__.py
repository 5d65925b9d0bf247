"""A long trial of the command and the page by accidents and attacks: `make soak`."""
