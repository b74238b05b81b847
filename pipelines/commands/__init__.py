"""The commands of `tempo`, a file for each concern: parse, call a job, print where things are."""
