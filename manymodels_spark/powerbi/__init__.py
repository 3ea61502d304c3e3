"""A Power BI project (PBIP) over a spec's views: semantic model as TMDL, a report as PBIR, and a .pbids
connection. Text only.
"""
