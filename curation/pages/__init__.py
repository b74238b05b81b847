"""Pages of ours: one HTML file with everything in it, that asks the network for nothing.

What the reports of datasets and of evaluations share: how a file is put together and secured
(`page`), how numbers are written (`wording`), and the look and the script helpers in `templates`.
"""
