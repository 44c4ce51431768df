"""Bounces, complaints and automatic answers that come as mail: from its bytes to the events of a mail of ours.

`read.read_mail` is the way in. mail.py cuts the bytes up within bounds; report.py reads what machines wrote for machines (RFC 3464,
RFC 5965), words.py what they wrote for people; codes.py is the one table of what a code or a phrase says of an address; whose.py
finds the mail it is about. No address leaves this package.
"""
