#!lua flags=allow-oom
-- key_revoke: end an API key; its record stays, so that lists say what happened to it.
-- KEYS    1 the key's record
-- ARGV    -
-- answer  ok | gone
-- caller  client (leasebox keys), API

local record = load(KEYS[1], {'digest', 'revoked_at'})
if not record.digest then return {'gone'} end
if not given(record.revoked_at) then
  set(record, 'revoked_at', NOW)
  commit()
end
return {'ok'}
