"""What every stage shares: the job, the record of runs with its lock and heartbeat, and progress."""
