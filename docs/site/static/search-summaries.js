// The search fetches the pages it has found to quote from them, which browsers refuse to pages opened as files.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
