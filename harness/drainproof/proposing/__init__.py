"""From a folder with a server to a manifest for it: what `drainproof init` does.

`looking` asks each module for a kind of server what it sees (`asgi`, `kserve`, `torchserve`, `dockerfile`); what they
find is a `Proposal`. `confirming` starts the server once by that proposal and mends it by what the server itself says;
`writing` makes the TOML. Whatever nobody could find is a `# TODO` in the file, at its place.
"""
