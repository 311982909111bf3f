#!/usr/bin/env python3
"""Prints the SQL of a Markdown page as one psql script, in order: blocks marked ```sql, and hidden ones in comments <!-- sql … -->.

Before each block stands \\echo with its line, so that an error says where. A block marked ```sql,error must fail. \\watch becomes one look, and
before a line that says what is there "within a second" the pipelines get the time to do it.
"""
import re
import sys

path = sys.argv[1]
text = open(path, encoding="utf-8").read()
found = re.compile(r"^```(?P<info>sql[^\n]*)\n(?P<shown>.*?)^```\s*$|^<!-- sql\n(?P<hidden>.*?)^-->", re.M | re.S)
for block in found.finditer(text):
    line = text.count("\n", 0, block.start()) + 1
    sql = block["hidden"] if block["shown"] is None else block["shown"]
    sql = re.sub(r"[ \t]*;?[ \t]*\\watch.*", ";", sql)
    # What a reader sees happen meanwhile.
    sql = re.sub(r"^(?=[^\n]*within a second)", "CALL docs.settle();\n", sql, flags=re.M)
    print(f"\\echo {path}:{line}")
    if (block["info"] or "sql") == "sql,error":
        print("\\set ON_ERROR_STOP off\n\\set VERBOSITY terse")
        print(sql)
        print("\\set ON_ERROR_STOP on\n\\if :ERROR\n\\else\nDO $$ BEGIN RAISE 'this block should have failed'; END $$;\n\\endif")
    else:
        print(sql)
