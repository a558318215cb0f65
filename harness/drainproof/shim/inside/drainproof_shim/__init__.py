"""What runs inside the target's own interpreter: standard library only, Python 3.8 to 3.13.

`bootstrap` starts it, `channel` reports. Everything else is imported only when the session's plan arms something.
"""
