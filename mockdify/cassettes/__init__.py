"""Recordings of a real Dify: written by a proxy, scrubbed, played back to any client.

The files are vcrpy's YAML, version 1, and stock vcrpy plays them. Nothing is imported here: `vcr`, `yaml` and `aiohttp`
cost up to half a second each, and whoever needs one of these modules names it.
"""
