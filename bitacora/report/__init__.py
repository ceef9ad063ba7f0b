"""The report: one self-contained HTML file about the last run.

data.py      what is shown, read from bundle, journal and lake; a part that is not there yet is None
charts.py    the figures
page.py      the page, and the command
page.html.j2 its template
"""
