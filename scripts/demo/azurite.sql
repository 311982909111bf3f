-- How a role gets into a lake that is not local: where it is, and who it is there. psql variables: location, endpoint, key.
CREATE SERVER lake FOREIGN DATA WRAPPER millrace OPTIONS (location :'location', endpoint :'endpoint');
CREATE USER MAPPING FOR CURRENT_USER SERVER lake OPTIONS (account_key :'key');
