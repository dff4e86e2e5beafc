"""A Discord on loopback, its own process: REST, gateway, interactions, a ledger of all that was delivered, and faults.

The real discord.py talks to it. What it refuses, the platform refuses (`overlay`, and the published OpenAPI by `schema`
where DREAMBOT_CONTRACTS has it). Tests steer it by `peer.Peer`, and judge by its ledger, never by the bot's insides.
"""
