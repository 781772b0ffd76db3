"""Behaviours on a cluster, a file each. Every one runs under load where there is something to serve, and says in one line what it saw."""
