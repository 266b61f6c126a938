"""Records how tests end and what was raised on the way, inside a pytest run of any project.

The project's environment may lack netra and may be older. This package stands alone: it imports itself, the standard
library and pytest, and runs on Python 3.8 and pytest 7 and later. `netra_repair.suite` copies it, under another name,
into a folder of the run.
"""
