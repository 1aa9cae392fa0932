-- wrk's script of single sends to Kannel's smsbox: a new number each time, the texts of send.lua.
local prefixes = { "912", "935", "919", "903", "921" }
local count = 0

function request()
  count = count + 1
  return wrk.format("GET", string.format(
    "/cgi-bin/sendsms?username=bench&password=bench&from=BENCH&to=%%2B98%s%07d"
      .. "&text=Your+code+is+%06d.+Do+not+tell+it+to+anybody.",
    prefixes[count % #prefixes + 1], count % 10000000, count * 7919 % 1000000))
end

dofile("wrk_done.lua")
