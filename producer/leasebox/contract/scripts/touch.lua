#!lua flags=allow-oom
-- touch: something happened in a session; its idle time starts anew.
-- KEYS    1 the session
-- ARGV    2 line
-- answer  ok expires_at | expired reason
-- caller  client, file events

local line = load_session(ARGV[2])
if not line.state or line.state == 'closed' or given(line.closing) then
  return {'expired', given(line.close_reason) and line.close_reason or 'lost'}
end
set(line, 'used_at', NOW)
if line.state == 'idle' then write('ZADD', K.node .. line.node .. K.expiry, expires_at(line), line.id)
elseif line.state == 'new' then write('ZADD', K.unbound, expires_at(line), line.id) end
commit()
return {'ok', string.format('%.6f', expires_at(line))}
