-- Health of a ConfluenceTokenBinding. Only the base and table libraries are open.
if obj.spec ~= nil and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is true: the token is not refreshed"}
end
if obj.status == nil or obj.status.conditions == nil then
  return {status = "Progressing", message = "waiting for the operator"}
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen this spec yet"}
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled, issued = conditions.Ready, conditions.Stalled, conditions.TokenIssued
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.reason .. ": " .. (ready or stalled).message}
end
if ready == nil then
  return {status = "Progressing", message = "waiting for the operator"}
end
if ready.status == "True" then
  if issued ~= nil and issued.reason == "RefreshFailing" then
    return {status = "Healthy", message = "failing: " .. issued.message}
  end
  return {status = "Healthy", message = ready.message}
end
if ready.reason == "TokenExpiring" or ready.reason == "TokenExpired" then
  return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
end
if ready.status == "Unknown" or (conditions.Reconciling ~= nil and conditions.Reconciling.status == "True") then
  return {status = "Progressing", message = ready.message}
end
return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
