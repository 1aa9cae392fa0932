-- wrk's script of single sends to Kannel's smsbox: a new number each time, the texts of send.lua.
-- At the end one JSON object on standard error: what wrk counted.
local prefixes = { "912", "935", "919", "903", "921" }
local count = 0

function request()
  count = count + 1
  return wrk.format("GET", string.format(
    "/cgi-bin/sendsms?username=bench&password=bench&from=BENCH&to=%%2B98%s%07d"
      .. "&text=Your+code+is+%06d.+Do+not+tell+it+to+anybody.",
    prefixes[count % #prefixes + 1], count % 10000000, count * 7919 % 1000000))
end

function done(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format('{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
