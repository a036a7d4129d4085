"""The pages that the API server shows: evidence, behind Airflow's login. Nothing here changes anything."""
