-- What a sender sent, newest first. Ids begin with the time: new rows go to the end of their sender.
CREATE INDEX reports_of_system ON reports (caller, id);
CREATE INDEX reports_of_agency ON reports (agency, id) WHERE agency IS NOT NULL;
