"""The commands of `tempo`, a file for each concern: parse, call a job, print where things are.

Jobs are imported where they are called: ``tempo --help`` reads every command and needs none of the
libraries behind them.
"""
