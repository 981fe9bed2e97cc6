"""Python side of guestcomms: functions that the extension's PL/Python wrappers call.

No module imports ``plpy``: what a function needs of the database it is handed, so that it runs in an ordinary test.
"""

__version__ = "0.1.0"
