"""Behaviours of servers as plain processes on loopback, a file each: what needs no Kubernetes."""
