"""Conversations live: several people in one conversation over WebSockets, with presence, typing and resume after a drop.

A room is one conversation in one process; rooms of other processes are reached by the link (`platform.link`) or, without it, by
looking into the log. It knows nothing of sockets: `web.live` moves the frames.
"""
