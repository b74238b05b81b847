-- Run once by the postgres image, beside the catalog's database that it makes itself.
CREATE DATABASE prefect;
