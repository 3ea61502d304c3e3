#!/bin/sh
# The driver of SQL Server (mssql-python) carries its ODBC part but not libltdl, which it loads at the first connect.
set -eu
ldconfig -p | grep -q 'libltdl\.so\.7' || { apt-get update -qq && apt-get install -y -qq --no-install-recommends libltdl7; }
