"""Models at work: drift, pauses, paired comparison and feedback; pure logic over records."""
