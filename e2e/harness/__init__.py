"""The cluster harness: a real kind cluster on this machine, load on foreign clients, faults, and a judge.

Where is ...                               Look in
  the command line                         __main__.py
  versions of everything that is fetched   versions.py
  where files go                           places.py
  an engine where the machine has none     engine.py
  the node image where no registry answers node_image.py, ../node/
  kind, kubectl, node faults               cluster.py
  the binaries and the image               build.py
  an ensemble as its admin ports show it   ensemble.py
  the writer, reader, owner and watcher    load.py
  what may and may not be lost             history.py
  the same on bare sessions                register_load.py, raw_session.py; its judge, registers.py
  the levels of `e2e/test`                 levels.py
  how a scenario is run and reported       runner.py
  what e2e/bench measures                  bench_rows.py
  in which order it measures               bench_series.py
  ZooKeeper, this server, the generator    bench_servers.py
  medians, ratios and the table            bench_report.py
  ensembles with Apache ZooKeeper          mixed.py
  role × side × fault, and what covers it  matrix.py
  links that are cut, and other faults     network.py, chaos.py, ../chaos/
  the tree as a server shows it            trees.py
  Apache ZooKeeper, fetched                apache.py
"""
