"""The operator's file: schema, load, explain, template."""
