"""The human study of Appendix C: who sees which video when, what they said, and what it means.

The study's design, its storage, its web pages and its statistics; making its videos and running
its server is the business of `pipelines.study`.
"""
