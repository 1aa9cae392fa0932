-- For wrk's scripts in this folder: at the end one JSON object on standard error, what wrk counted.
function done(summary, latency)
  local errors = summary.errors
  local failed, why = 0, {}
  for name, count in pairs(errors) do
    failed = failed + count
    if count > 0 then
      why[#why + 1] = string.format("%s %d", name, count)
    end
  end
  io.stderr:write(string.format('{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"failed":%d,"why":"%s"}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed, table.concat(why, ", ")))
end
