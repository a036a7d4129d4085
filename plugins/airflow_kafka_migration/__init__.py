"""All that knows Airflow: hooks, operators, triggers, links, pages. It decides nothing about a migration."""
