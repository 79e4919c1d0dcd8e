#!lua flags=allow-oom
-- measure: a client asks what the sandbox of a session uses now; its node is told, measures, and calls `measured`.
-- KEYS    1 the session
-- ARGV    2 line  3 fresh_s
-- answer  asked after | fresh at json | none
-- caller  client

local line = load_session(ARGV[2])
if not given(line.sandbox) then return {'none'} end
local last = call('XREVRANGE', line.key .. K.metrics, '+', '-', 'COUNT', 1)[1]
if last then
  -- However many watch: the node measures once in `fresh_s`.
  local at = tonumber(string.match(last[1], '^%d+')) / 1000
  if now - at < num(ARGV[3]) and last[2][2] == line.sandbox then
    return {'fresh', string.format('%.3f', at), last[2][4]}
  end
end
write('XADD', K.node .. line.node .. K.control, 'MAXLEN', '~', 1000, '*', 'type', 'measure', 'line', line.id,
  'sandbox', line.sandbox)
commit()
return {'asked', last and last[1] or '0-0'}
