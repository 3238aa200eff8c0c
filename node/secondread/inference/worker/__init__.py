"""What runs inside a worker process: numbers in, numbers out, and nothing about the patient."""
