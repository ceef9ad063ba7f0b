"""Data sources that are asked over REST: one file each, one mechanism for all.

source.py     what a source is: requests, paging, parser, metrics, key
registry.py   every source, found by its file
settings.py   where a source is and its key, by setting
client.py     asks: pace, retries, Retry-After
cursor.py     pages that go on where a killed run stopped
server.py     answers on loopback in every source's own format, with faults on demand
generated.py  the numbers that server makes up
files.py      imported files: the forms that are known
imported.py   the quantities such files may hold
units.py      one unit per quantity

Every other file is a source: its address, its paging, its parser and sample answers.
"""
