"""What happens at its time: APScheduler jobs."""
