{{- define "remit.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "remit.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "remit.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that selectors use. Argument: dict root, component. */}}
{{- define "remit.selector" -}}
app.kubernetes.io/name: {{ include "remit.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "remit.labels" -}}
{{ include "remit.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* metadata of an object. Argument: dict root, name, component, and at will labels, annotations. */}}
{{- define "remit.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "remit.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "remit.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{- define "remit.services" -}}
intake routing audit
{{- end -}}

{{/* Whether a value was given: 0 and false are values, null and "" are none. */}}
{{- define "remit.given" -}}
{{- if not (or (kindIs "invalid" .) (and (kindIs "string" .) (eq . ""))) -}}true{{- end -}}
{{- end -}}

{{/* Where a service is reached. Argument: dict root, service. */}}
{{- define "remit.address" -}}
{{- $own := index .root.Values .service -}}
{{- if $own.address -}}
{{ $own.address }}
{{- else if $own.enabled -}}
{{ printf "%s://%s-%s:%d" (ternary "https" "http" .root.Values.tls.enabled) (include "remit.fullname" .root) .service (int $own.service.port) }}
{{- end -}}
{{- end -}}

{{/* Puts settings of sections over others; sprig's merge would pass over 0 and false. Argument: list below, above. */}}
{{- define "remit.over" -}}
{{- $all := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- $section := index $all $key | default dict -}}
{{- range $name, $inner := $value -}}
{{- $_ := set $section $name $inner -}}
{{- end -}}
{{- $_ := set $all $key $section -}}
{{- else -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* A setting without a value is not set: the program refuses a key without one. Argument: settings. */}}
{{- define "remit.set" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $section := dict -}}
{{- range $name, $inner := $value -}}
{{- if not (kindIs "invalid" $inner) -}}{{- $_ := set $section $name $inner -}}{{- end -}}
{{- end -}}
{{- if $section -}}{{- $_ := set $kept $key $section -}}{{- end -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $kept -}}
{{- end -}}

{{/* What the configuration file of a service says. Argument: dict root, service. */}}
{{- define "remit.config" -}}
{{- $root := .root -}}
{{- $service := .service -}}
{{- $values := index $root.Values $service -}}
{{- $config := include "remit.over" (list $root.Values.config $values.config) | fromJson -}}
{{- $own := dict "tokens_file" "/run/remit/tokens/tokens.json" -}}
{{- $_ := set $own "admin" (dict "listen" (printf "0.0.0.0:%d" (int $root.Values.admin.port))) -}}
{{- range $peer := splitList " " (include "remit.services" .) -}}
{{- $endpoint := dict -}}
{{- with include "remit.address" (dict "root" $root "service" $peer) -}}
{{- $_ := set $endpoint "address" . -}}
{{- end -}}
{{- if eq $peer $service -}}
{{- $_ := set $endpoint "listen" (printf "0.0.0.0:%d" (int $values.service.port)) -}}
{{- $_ := set $endpoint "database_file" "/run/remit/database/url" -}}
{{- end -}}
{{- if $endpoint -}}{{- $_ := set $own $peer $endpoint -}}{{- end -}}
{{- end -}}
{{- if $root.Values.callers.configMap -}}{{- $_ := set $own "callers_file" (printf "/run/remit/callers/%s" $root.Values.callers.key) -}}{{- end -}}
{{- if $root.Values.secrets.callersKey.name -}}{{- $_ := set $own "callers_key_file" "/run/remit/callers-key/callers.key" -}}{{- end -}}
{{- $tls := $root.Values.tls -}}
{{- if $tls.enabled -}}
{{- $keys := dict "certificate_file" "/run/remit/tls/tls.crt" "key_file" "/run/remit/tls/tls.key" "ca_file" "/run/remit/tls/ca.crt" -}}
{{- if $tls.ca.configMap -}}{{- $_ := set $keys "ca_file" (printf "/run/remit/ca/%s" $tls.ca.key) -}}{{- end -}}
{{- if $tls.clientCa.configMap -}}{{- $_ := set $keys "client_ca_file" (printf "/run/remit/client-ca/%s" $tls.clientCa.key) -}}{{- end -}}
{{- $_ := set $own "tls" $keys -}}
{{- else -}}
{{- $_ := set $own "tls" (dict "encrypted_elsewhere" true) -}}
{{- end -}}
{{- $files := dict -}}
{{- range $name, $from := $root.Values.files -}}
{{- if $from.builtin -}}
{{- $_ := set $files $name $from.builtin -}}
{{- else if $from.configMap -}}
{{- $_ := set $files $name (printf "/run/remit/files/%s/%s" $name $from.key) -}}
{{- end -}}
{{- end -}}
{{- if $files -}}{{- $_ := set $own "files" $files -}}{{- end -}}
{{- if eq $service "intake" -}}
{{- $_ := set $own "receipt_key_file" "/run/remit/receipt-key/receipt.key" -}}
{{- $_ := set $own "evidence" (dict "folder" "/var/lib/remit/evidence") -}}
{{- end -}}
{{- if eq $service "audit" -}}
{{- $log := dict "key_file" (printf "/run/remit/log-key/%s" $root.Values.secrets.logKey.key) "checkpoint_file" "/var/lib/remit/checkpoint/log.checkpoint" -}}
{{- if $values.witnessPolicy.configMap -}}{{- $_ := set $log "witness_policy_file" (printf "/run/remit/witness-policy/%s" $values.witnessPolicy.key) -}}{{- end -}}
{{- if $values.witnessCa.configMap -}}{{- $_ := set $log "ca_file" (printf "/run/remit/witness-ca/%s" $values.witnessCa.key) -}}{{- end -}}
{{- $_ := set $own "log" $log -}}
{{- end -}}
{{- $all := include "remit.over" (list $config $own) | fromJson -}}
{{- include "remit.set" $all | fromJson | toYaml -}}
{{- end -}}

{{- define "remit.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.runAsUser | int64 }}
runAsGroup: {{ .Values.podSecurity.runAsGroup | int64 }}
fsGroup: {{ .Values.podSecurity.fsGroup | int64 }}
# A volume of evidence is not walked through at every start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "remit.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A secret as a volume that its group reads: the program refuses one that others read. Argument: volume, secret, and the
path of its key; without one, all that it has. */}}
{{- define "remit.secretVolume" -}}
- name: {{ .volume }}
  secret:
    secretName: {{ .secret.name }}
    defaultMode: 0440
    {{- with .path }}
    items:
      - key: {{ $.secret.key }}
        path: {{ . }}
    {{- end }}
{{- end -}}

{{- define "remit.probe" -}}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end -}}
