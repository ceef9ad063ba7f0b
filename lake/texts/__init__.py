"""Texts made comparable: cleaned, without authors, identified by content, with language and the assets they name.

text.py      what every parser of a text source gives
clean.py     markup, hidden characters, names of people and addresses out; the content id
language.py  ISO 639-1 code, offline
aliases.py   the table of names by which texts call an asset
tags.py      which assets a text names
rows.py      bronze answers to rows of texts_v1, refusals with reasons, syndicated copies collapsed
"""
