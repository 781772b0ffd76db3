"""Real processes on a network of their own, whose links, clocks, disks and lives are taken away at random under judged load."""
