"""What an auditor is given: the journal as records, and copies of it in S3 that nobody can change or remove."""
