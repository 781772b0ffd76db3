"""Behaviours of ensembles in which servers of Apache ZooKeeper and of this repository work together, a file each."""
