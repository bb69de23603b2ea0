"""Inspection of a data set before it costs a training run: `maskwright doctor`.

sources    which files belong together         probe      one pair of files, decoded once, as facts
workers    probing in several processes        encoding   what the stored values of all masks mean
checks     findings about files and pairs      twins      pictures that stand in the set twice
kinds      the table of what can be found      repair     the clean copy
"""
