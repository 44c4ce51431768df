"""Honest numbers: ratios measured in one run against a bare limit and a peer, and operations counted exactly (`make bench`)."""
