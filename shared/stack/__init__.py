"""Which adapter serves a port on which stack, one module a port: a step reaches, and its lock holds, only what it uses.

    embedded   files in STATE_DIR, for a laptop
    google     Firestore, Pub/Sub, Cloud Storage and Secret Manager, or their emulators where a setting names one

Adapters are imported when they are asked for, not before. A client is shared by everything in a process that asks for it.
"""
