"""A Slack on loopback: Web API, Socket Mode, signed HTTP, upload service; its own process, a ledger, faults on demand.

Knows one workspace with a few people and channels, and the platform's rules. Does not know the bot: whoever holds the
tokens is talked to as Slack would talk to them.
"""
